"""The managed-identity endpoint of App Service, on loopback: where the gateway gets its access tokens."""
