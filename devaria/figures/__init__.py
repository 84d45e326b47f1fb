"""figpack views built from plain arrays, and their upload."""
