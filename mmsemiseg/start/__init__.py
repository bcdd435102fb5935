"""From folders of images and masks to a trained, compared model."""
