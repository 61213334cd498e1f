"""How predictions degrade when PET or CT is missing, or CT does not lie on the PET."""
