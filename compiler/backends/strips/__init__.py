"""Programs that are nothing but loops over long rows of plain sums and the like, run by the library."""
