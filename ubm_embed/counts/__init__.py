"""What shoppers did next, counted: a term of the score beside the cosine of the vectors."""
