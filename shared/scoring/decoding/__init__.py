"""Where images are decoded: small ones in threads, large ones in processes, all within the gateway's memory."""
