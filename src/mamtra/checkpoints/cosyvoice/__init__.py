"""The files that CosyVoice 2 is published in: its LM, networks, speakers and settings."""
