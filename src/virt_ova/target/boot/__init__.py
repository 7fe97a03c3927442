"""How far a machine came that was started, and how that is known.

senses (of each driver)  ->  console, screen, address, guest agent
    marks    what lines of text tell: the state, and whether the guest found its disk
    vga      the text on a screen in text mode
    picture  a screenshot: read, compared, written
    screen   whether a screen is blank, still or changing
    watch    one start, from power on to the report
"""
