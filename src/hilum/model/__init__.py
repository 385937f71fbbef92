"""The classifier as one file: saving, verifying, loading and calibrated reading on OpenVINO."""

from hilum.model.classifier import Classifier, Reading, load
from hilum.model.file import ModelFile, load_model_file, save_model_file

__all__ = ["Classifier", "ModelFile", "Reading", "load", "load_model_file", "save_model_file"]
