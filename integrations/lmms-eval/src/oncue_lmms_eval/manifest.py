"""What lmms-eval finds by its entry point. It imports nothing else: a plug-in that fails to import
would keep lmms-eval from loading all that come after it."""

from lmms_eval.models.registry_v2 import ModelManifest

MANIFEST = ModelManifest(model_id="oncue", simple_class_path="oncue_lmms_eval.model.OncueModel")
