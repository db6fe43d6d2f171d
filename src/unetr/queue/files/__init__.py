"""What lies in the queue's folder beside the database, and what the files of models say of them."""
