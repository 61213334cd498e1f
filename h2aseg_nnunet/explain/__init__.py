"""What the network did on a case: weighting, predictions of all stages, attention, and what each modality adds."""
