"""Graph to Graph: simplify, cluster, plan memory. Valid Graph in, valid Graph out."""
