"""What the local worker keeps: jobs, runners, figures."""
