"""The producer API: submitting jobs, following them and controlling them."""
