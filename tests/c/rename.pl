# Perl's own calls; what it prints is the same from run to run. The test runs it with
# rename.c preloaded and without.
use strict;
use warnings;
use IPC::SysV qw(IPC_PRIVATE IPC_CREAT IPC_RMID IPC_STAT IPC_NOWAIT GETVAL GETALL SETVAL ftok);
use POSIX ();
use Socket;

sub show {
    my ($what, $result) = @_;
    print "$what: ", defined $result ? $result : "undef ($!)", "\n";
}

my $path = shift;

socketpair(my $one, my $two, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
syswrite $one, 'pair';
sysread $two, my $got, 4;
show 'socketpair', $got;
show 'socketpair', socketpair(my $three, my $four, AF_UNIX, 12345, 0) ? 1 : undef;

show 'mkfifo', POSIX::mkfifo($path, 0640);
show 'mkfifo', POSIX::mkfifo($path, 0640);
show 'mode', (stat $path)[2];
show 'unlink', unlink $path;
show 'ftok', ftok('/', ord 'x');

my $shm = shmget(IPC_PRIVATE, 64, IPC_CREAT | 0600);
die "shmget: $!" unless defined $shm;
show 'shmwrite', shmwrite($shm, 'shared', 3, 6);
show 'shmread', shmread($shm, my $bytes, 0, 12);
show 'bytes', unpack 'H*', $bytes;
show 'shmread', shmread($shm, $bytes, 60, 12);
show 'shmctl', shmctl($shm, IPC_STAT, my $status);
show 'shmctl', length $status;
show 'shmctl', shmctl($shm, IPC_RMID, 0);

my $sem = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
die "semget: $!" unless defined $sem;
show 'SETVAL', semctl($sem, 1, SETVAL, 5);
show 'semop', semop($sem, pack 's!3 s!3', 0, 2, 0, 1, -1, 0);
show 'semop', semop($sem, pack 's!3', 0, -3, IPC_NOWAIT);
show 'GETVAL', semctl($sem, 0, GETVAL, 0);
show 'GETALL', semctl($sem, 0, GETALL, my $values);
show 'GETALL', join ' ', unpack 's!*', $values;
show 'IPC_RMID', semctl($sem, 0, IPC_RMID, 0);
show 'IPC_RMID', semctl(-1, 0, IPC_RMID, 0);
