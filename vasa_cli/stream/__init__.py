"""`vasa stream`: sound comes in, frames go out while it still comes.

    source -> session (clock, resampler, engine) -> sink
                 ^ control

Everything here is about time and pipes; what the face does is decided by the same modules that `render` uses.
"""

LOOK_AHEAD_MS = 0  # default of --look-ahead: sound beyond a frame that the motion waits for, besides what it must
