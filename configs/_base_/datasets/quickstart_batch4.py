# The quickstart's data for methods of several networks: half of the images a step.
_base_ = './quickstart.py'
labeled = dict(batch_size=4)
unlabeled = dict(batch_size=4)
train_dataloader = dict(labeled=labeled)
