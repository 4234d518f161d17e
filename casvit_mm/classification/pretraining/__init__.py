"""What pretraining on ImageNet takes beside the model: teacher, averages, batches, augmentation."""
