"""The table: every condition, causes before their effects."""

from ganvas.doctor import course, drawing, learning

CONDITIONS = (
    learning.NON_FINITE,
    learning.D_FROZEN,
    learning.G_FROZEN,
    drawing.RANGE,
    drawing.NORMALISATION,
    learning.LEAK,
    learning.UNBOUNDED,
    learning.RATE_HIGH,
    learning.EXPLODING,
    learning.RATE_LOW,
    learning.NOTHING,
    learning.UNDER_TRAINED,
    drawing.MEMORISING,
    learning.OVERFITTING,
    learning.TOO_STRONG,
    drawing.HOPPING,
    drawing.COLLAPSE,
    drawing.D_LABELS,
    drawing.G_LABELS,
    drawing.MISSING,
    drawing.CHECKERBOARD,
    drawing.UNEVEN,
    learning.PARTLY_FROZEN,
    course.REGRESSING,
    course.OSCILLATING,
    course.PLATEAU,
    course.EARLY,
)
