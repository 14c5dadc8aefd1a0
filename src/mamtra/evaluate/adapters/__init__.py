"""Systems that are not ours: each file of this folder is one, with `speak(text, prompt_wav, prompt_text)` that gives samples."""
