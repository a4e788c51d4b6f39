"""Reading images between their pixels, bilinearly and with a gradient, over any array namespace."""


def pixels(xp, side: int):
    """0, 1, ..., side - 1 as float32."""
    return xp.cast(xp.arange(side), "float32")


def sample(xp, images, rows, columns):
    """Bilinear reading at `rows` x `columns` (n or 1, side); outside the image is 0. Two matrix products."""
    height, width, channels = images.shape[1:]
    down = _weights(xp, rows, height, images.dtype)
    right = _weights(xp, columns, width, images.dtype)
    flat = xp.matmul(down, xp.reshape(images, (-1, height, width * channels)))
    turned = xp.transpose(xp.reshape(flat, (-1, height, width, channels)), (0, 2, 1, 3))
    flat = xp.matmul(right, xp.reshape(turned, (-1, width, height * channels)))
    return xp.transpose(xp.reshape(flat, (-1, width, height, channels)), (0, 2, 1, 3))


def _weights(xp, positions, side: int, dtype):
    distance = xp.abs(xp.reshape(positions, (-1, side, 1)) - pixels(xp, side))
    return xp.cast(xp.maximum(1 - distance, 0.0), dtype)


def gather(xp, images, rows, columns):
    """Bilinear reading at (n or 1, height, width) positions; outside the image is 0."""
    top, left = xp.floor(rows), xp.floor(columns)
    total = 0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        weight = (1 - xp.abs(rows - row)) * (1 - xp.abs(columns - column))
        total = total + _weighted_pixels(xp, images, row, column, weight)
    return total


def _weighted_pixels(xp, images, rows, columns, weight):
    """Pixels at whole positions, times `weight`, which counts as 0 outside the image."""
    height, width, channels = images.shape[1:]
    inside = xp.logical_and(
        xp.logical_and(rows > -0.5, rows < height - 0.5),
        xp.logical_and(columns > -0.5, columns < width - 0.5),
    )
    weight = xp.where(inside, weight, 0.0)
    position = xp.cast(xp.clip(rows, 0, height - 1) * width + xp.clip(columns, 0, width - 1), "int32")
    start = xp.reshape(xp.arange(xp.shape(images)[0]), (-1, 1, 1)) * (height * width)
    flat = xp.take(xp.reshape(images, (-1, channels)), xp.cast(start, "int32") + position, axis=0)
    return flat * xp.reshape(xp.cast(weight, images.dtype), (-1, height, width, 1))
