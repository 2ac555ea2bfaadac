"""What the triggers share. Nothing here imports a trigger or ``azure.functions``."""
