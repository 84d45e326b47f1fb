"""What `devaria doctor` checks."""
