"""The H2ASeg network. Read h2aseg.py first."""
