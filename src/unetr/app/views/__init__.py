"""What a person sees while a job runs: bars, and lines above them."""
