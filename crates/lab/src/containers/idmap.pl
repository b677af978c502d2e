#!/usr/bin/perl
# idmap.pl TARGET UIDS GIDS: what is mounted at TARGET shows its owners by these maps from now on, which are as those of a
# namespace of users: lines of a number on the disk, one that it is shown as, and how many.
# A mount gets its owners before it is anywhere (mount_setattr(2), MOUNT_ATTR_IDMAP), so it is a copy that takes its place.
use strict;
use warnings;

my ($open_tree, $move_mount, $mount_setattr) = (428, 429, 442);    # the same on all machines
my ($cwd, $empty_path, $clone, $idmap, $from_itself) = (-100, 0x1000, 1, 0x100000, 4);

my ($target, @maps) = @ARGV;
die "usage: idmap.pl TARGET UIDS GIDS\n" if @maps != 2;

# Somebody has to be in the namespace until the mount has it; it ends with its input.
pipe(my $input, my $hold) or die "pipe: $!\n";
my $pid = fork() // die "fork: $!\n";
if (!$pid) {
    close($hold);
    open(STDIN, '<&', $input) or exit 1;
    exec('unshare', '--user', '--', 'cat') or exit 1;
}
close($input);
my $own = readlink('/proc/self/ns/user');
for (1 .. 500) {
    last if (readlink("/proc/$pid/ns/user") // $own) ne $own;
    select(undef, undef, undef, 0.01);
}
for my $which ('uid', 'gid') {
    open(my $map, '>', "/proc/$pid/${which}_map") or die "${which}_map: $!\n";
    syswrite($map, shift(@maps)) or die "${which}_map: $!\n";
}
open(my $users, '<', "/proc/$pid/ns/user") or die "its namespace: $!\n";

my $none = '';
my $tree = syscall($open_tree, $cwd, $target, $clone);
die "open_tree $target: $!\n" if $tree < 0;
my $attributes = pack('Q4', $idmap, 0, 0, fileno($users));
syscall($mount_setattr, $tree, $none, $empty_path, $attributes, length($attributes)) == 0
    or die "the file system of $target cannot show other owners: $!\n";
system('umount', '-n', $target) == 0 or die "umount $target\n";
syscall($move_mount, $tree, $none, $cwd, $target, $from_itself) == 0 or die "move_mount $target: $!\n";
close($hold);
waitpid($pid, 0);
