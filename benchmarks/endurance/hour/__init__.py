"""What changes and fails behind a gateway in an hour, in ten minutes, under a steady load."""
