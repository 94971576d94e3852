"""How the project runs somewhere: `local` starts everything on one machine without Docker."""
