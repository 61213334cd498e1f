"""Every place where the tools touch nnU-Net beyond its commands, so that a new release of it breaks one folder."""
