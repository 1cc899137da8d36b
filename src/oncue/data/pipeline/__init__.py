"""From videos to proactive dialogues: steps, the models behind them, and runners."""
