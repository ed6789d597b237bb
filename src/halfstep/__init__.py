"""halfstep"""
