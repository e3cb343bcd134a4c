"""Neural style transfer: `ganvas.stylize`."""
