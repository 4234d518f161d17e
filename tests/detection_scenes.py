"""Objects and detections whose errors are known."""

CAT, DOG = 7, 3


CATEGORIES = {CAT: 'cat', DOG: 'dog'}  # ids in another order than the classes


def thing(category_id, x, width=10, image_id=1, crowd=0):
    """An object of height 10 at the top of the image."""
    return dict(image_id=image_id, category_id=category_id, bbox=[x, 0, width, 10], iscrowd=crowd)


def found(category_id, x, score, width=10, image_id=1):
    return dict(thing(category_id, x, width, image_id), score=score)


def truth(annotations, images=(1,)):
    return dict(
        images=[dict(id=i, file_name=f'{i}.png', width=100, height=60) for i in images],
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in CATEGORIES.items()],
    )
