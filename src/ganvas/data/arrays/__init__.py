"""Arrays as they are stored: which are images, how these lie in them, and what their numbers mean."""
