"""Overload: twice as many requests as the service can score, a service that hangs, clients that disconnect."""
