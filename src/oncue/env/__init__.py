"""What is shown: environments that turn a video into the turns of an episode."""
