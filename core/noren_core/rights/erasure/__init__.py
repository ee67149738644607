"""What ends: withdrawal, erasure, custody, provision records, retention."""
