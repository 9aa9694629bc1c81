"""The words of the phrasebook, as tables. Each Japanese word has one English word and the other way round."""
