"""What tests are made of, shipped for plug-in authors too: slides with known pixels."""
