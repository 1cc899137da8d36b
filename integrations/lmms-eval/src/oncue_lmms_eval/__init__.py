"""oncue as a model of lmms-eval. oncue itself runs in another environment."""
