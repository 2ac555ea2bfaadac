"""The local stack: everything the gateway talks to in Azure, on loopback. Never deployed."""
