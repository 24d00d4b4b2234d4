"""Search methods compared: quality per evaluation, with parallel workers, and what a suggestion costs."""
