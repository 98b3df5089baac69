"""What billing does on request: subscribe, cancel, follow the catalog, look ahead, move a test clock, explain."""
