"""The latent space in use: the place of a photo, and directions that mean something."""
