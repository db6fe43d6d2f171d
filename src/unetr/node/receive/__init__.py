"""What others send: taken in so that nothing that was acknowledged is lost, and kept until a series is whole."""
