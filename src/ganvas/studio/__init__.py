"""The web studio: the runs in a browser, on the user's own machine."""
