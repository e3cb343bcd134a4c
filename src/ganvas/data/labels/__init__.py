"""Which images belong to which class and to which split: by names, folders, arrays and tables."""
