"""What the gateway costs, measured on the local stack: each module is a program that prints a table."""
