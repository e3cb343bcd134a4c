"""The game on points in the plane: what the lab of the studio shows, by the code that trains on images."""
