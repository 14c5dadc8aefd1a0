"""The paper's experiments on a teacher of one's own: many small trainings, what their students say, and tables of it."""
