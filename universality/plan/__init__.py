"""What is asked: suites, and the plan of cells and trainings that follows from one."""
